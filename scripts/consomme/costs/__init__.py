"""What models cost: size, arithmetic, speed, memory."""
