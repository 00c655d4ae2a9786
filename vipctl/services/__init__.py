"""What a director is asked to do: services, their options, real servers, and changes of them.

Pure: it neither reads the kernel nor the disk. A new option, of a service or a real server, belongs
here; how it is carried out does not.
"""
