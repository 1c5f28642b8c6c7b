"""RabbitMQ for one machine: a private node, and what installs it."""

from deploy.local.rabbitmq.node import RabbitMQNode

__all__ = ["RabbitMQNode"]
