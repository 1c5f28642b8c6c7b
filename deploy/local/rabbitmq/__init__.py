"""RabbitMQ for the local stack: a private node, or a container."""

from deploy.local.rabbitmq.node import RabbitMQNode

__all__ = ["RabbitMQNode"]
