"""The ingress: OpenAI's images API over HTTP, in front of engines that draw; needs the extra `serve`."""
