DatabaseDirectory {{ database_dir }}
