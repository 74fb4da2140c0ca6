"""What every ingress shares: fields and limits of requests, orders that are joined, figures and errors of answers."""
