{{ greeting }}
This is {{ name }}, built from {{ name }}/system.toml.
