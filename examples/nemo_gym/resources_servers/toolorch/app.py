"""The resources server that NeMo Gym starts."""

from toolorch_env.integrations.nemo_gym import ToolOrchServer

if __name__ == "__main__":
    ToolOrchServer.run_webserver()
