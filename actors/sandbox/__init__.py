"""The decoding child: its fork server, its protocol and its main function."""
