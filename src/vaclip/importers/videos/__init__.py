"""Videos that other people's files hold in another form: pictures one by one, DICOM cines."""
