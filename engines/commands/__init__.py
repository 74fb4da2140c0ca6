"""What the commands share: arguments, folders of many images, pictures of a decode."""
