"""The operations as functions for programs; `import libswap` hands out all of them."""
