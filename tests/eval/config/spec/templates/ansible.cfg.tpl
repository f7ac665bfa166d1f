[defaults]
inventory = {{ inventory }}
