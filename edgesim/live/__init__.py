"""The live world: asyncio, aiohttp, MQTT and wasmtime."""
