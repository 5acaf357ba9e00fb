"""Array namespaces, which provide the same functions for several libraries.

The functions of `scn_keras.geometry`, `scn_keras.warp`, `scn_keras.alignment` and
`scn_keras.inference` take a namespace as `xp`. They are therefore written only once for
NumPy, for TensorFlow graphs with any Keras backend, and for tensors of the backend. A
namespace has functions with the names of `keras.ops`.

- `NUMPY`: NumPy arrays.
- `KERAS`: tensors of the Keras backend. Using it imports Keras.
- `TENSORFLOW`: TensorFlow tensors. Using it imports TensorFlow.
"""

import functools
import types
from typing import Any

import numpy as np


def sum_of_products(a: Any, b: Any) -> Any:
    """Returns `a @ b` for an `a` with few columns, in full precision on every device.

    On GPUs, matrix products round their factors to 10 or 7 bits (TF32, bfloat16).
    """
    terms = [a[..., :, k, None] * b[..., k, None, :] for k in range(a.shape[-1])]
    return sum(terms[1:], terms[0])


_COMMON = (
    "abs arange clip cos exp floor isnan matmul maximum mean minimum pad "
    "reshape shape sign sin sort sqrt stack sum take where"
).split()


def _random(seed, stream):
    # A seed may be several integers. NumPy 2.5 does not accept nested sequences.
    return np.random.default_rng([*np.ravel(seed), stream])


def _fold_in(seed, number):
    """Derives a Keras seed from a seed and a number.

    Only an int is combined with the number. A seed generator is returned unchanged,
    because it advances with each use.
    """
    if isinstance(seed, int):
        words = np.random.SeedSequence([seed, number]).generate_state(1)
        return int(words[0] >> 1)  # 31 bits are valid seeds on every backend
    return seed


def _fori_loop(lower, upper, body_fun, init_val):
    for number in range(lower, upper):
        init_val = body_fun(number, init_val)
    return init_val


NUMPY = types.SimpleNamespace(
    **{name: getattr(np, name) for name in _COMMON},
    cast=np.asarray,
    convert_to_tensor=np.asarray,
    contract=np.matmul,
    det=np.linalg.det,
    fold_in=lambda seed, number: [*np.ravel(seed), number],
    fori_loop=_fori_loop,
    inv=np.linalg.inv,
    solve=np.linalg.solve,
    svd=np.linalg.svd,
    normal=lambda seed, shape: _random(seed, 1).normal(size=shape),
    uniform=lambda seed, shape: _random(seed, 0).uniform(-1, 1, shape),
)


@functools.cache
def _keras() -> types.SimpleNamespace:
    import keras
    from keras import ops

    return types.SimpleNamespace(
        **{name: getattr(ops, name) for name in _COMMON},
        cast=ops.cast,
        convert_to_tensor=ops.convert_to_tensor,
        contract=sum_of_products,
        det=ops.linalg.det,
        fold_in=_fold_in,
        fori_loop=ops.fori_loop,
        inv=ops.linalg.inv,
        solve=ops.linalg.solve,
        svd=ops.linalg.svd,
        normal=lambda seed, shape: keras.random.normal(shape, seed=seed),
        uniform=lambda seed, shape: keras.random.uniform(shape, -1.0, 1.0, seed=seed),
    )


@functools.cache
def _tensorflow() -> types.SimpleNamespace:
    import tensorflow as tf

    def _shape(x):
        dynamic = tf.shape(x)
        return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]

    def _svd(matrix):
        strength, u, v = tf.linalg.svd(matrix)
        return u, strength, tf.linalg.matrix_transpose(v)

    def _fori_loop(lower, upper, body_fun, init_val):
        return tf.while_loop(
            lambda number, _: number < upper,
            lambda number, value: (number + 1, body_fun(number, value)),
            (lower, init_val),
        )[1]

    return types.SimpleNamespace(
        abs=tf.abs,
        arange=tf.range,
        cast=tf.cast,
        clip=tf.clip_by_value,
        contract=tf.matmul,
        convert_to_tensor=tf.convert_to_tensor,
        cos=tf.cos,
        det=tf.linalg.det,
        exp=tf.exp,
        floor=tf.floor,
        fold_in=tf.random.experimental.stateless_fold_in,
        fori_loop=_fori_loop,
        inv=tf.linalg.inv,
        isnan=tf.math.is_nan,
        matmul=tf.matmul,
        maximum=tf.maximum,
        mean=tf.reduce_mean,
        minimum=tf.minimum,
        # With the seed of `uniform`, the numbers would be correlated with its numbers.
        normal=lambda seed, shape: tf.random.stateless_normal(
            shape, tf.random.experimental.stateless_fold_in(seed, 1)
        ),
        pad=tf.pad,
        reshape=tf.reshape,
        shape=_shape,
        sign=tf.sign,
        sin=tf.sin,
        solve=tf.linalg.solve,
        sort=tf.sort,
        sqrt=tf.sqrt,
        stack=tf.stack,
        sum=tf.reduce_sum,
        svd=_svd,
        take=tf.gather,
        uniform=lambda seed, shape: tf.random.stateless_uniform(shape, seed, -1.0, 1.0),
        where=tf.where,
    )


def __getattr__(name: str) -> Any:
    if name == "KERAS":
        return _keras()
    if name == "TENSORFLOW":
        return _tensorflow()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
