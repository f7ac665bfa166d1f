default-rule-path: {{ rule_path }}
threading:
  detect-thread-ratio: {{ detect_threads }}
