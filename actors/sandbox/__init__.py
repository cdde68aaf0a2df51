"""The decoding child: its process, its protocol and its main function."""
