"""Names for types that several modules take."""

from jaxtyping import Array, Key, UInt32

# A JAX random key of either kind: jax.random.key or the older jax.random.PRNGKey.
AnyKey = Key[Array, ""] | UInt32[Array, " words"]
