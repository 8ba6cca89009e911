"""What several homes share: objects in a bucket or a folder, each whole or not there."""
