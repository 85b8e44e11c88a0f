/** What `iii project init` writes. */

export const BARE_CONFIG = `# iii engine configuration
# Docs: https://iii.dev/docs
workers:
  - name: iii-observability
    config:
      enabled: true
      logs_enabled: true
      logs_console_output: true
  - name: iii-queue
    config:
      adapter:
        name: builtin
`;

export const PROJECT_GITIGNORE = `.env
data/
*.db

# The engine's own files: process ids, logs, install markers
.iii/*
!.iii/project.ini
.iii-worker.lock

# Node
node_modules/
dist/
*.tsbuildinfo
npm-debug.log*

# Python
__pycache__/
*.py[cod]
.venv/
*.egg-info/
build/

# Rust
target/

# Editors and systems
.idea/
.vscode/
.DS_Store
`;
