"""Joints of people from pose tools, one file a tool."""
