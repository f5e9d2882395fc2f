"""Wire formats spoken by more than one provider. Pure: bytes in, values out."""
