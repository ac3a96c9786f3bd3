"""The embedded world: an authority, CT logs, DoT and DoH servers and a gallery of rogues, on loopback, without root."""
