"""The model ``tiny`` of the servers that stand in for TensorFlow Serving: version 1 reconstructs x as 2x, 2 as 3x."""

import numpy as np

X = np.array([[1, 2, 3, 4], [0.5, 0.5, 1, 0.5]], "float32")
KERNEL_ERROR = (
    "Matrix size-incompatible: In[0]: [1,5], In[1]: [4,2]\n\t [[{{function_node f_669}}{{node a_1/BiasAdd}}]]"
)
STATUS = {
    "model_version_status": [
        {"version": "1", "state": "END", "status": {"error_code": "DATA_LOSS", "error_message": "Can't parse"}},
        {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
    ]
}
ANY_RANK = None


def rows(number):
    return np.arange(number * 4, dtype="float32").reshape(number, 4)


def tensor(dtype, *sides):
    """As a server describes one."""
    shape = {"unknown_rank": True} if sides == (ANY_RANK,) else {"dim": [{"size": str(side)} for side in sides]}
    return {"name": "x:0", "dtype": f"DT_{dtype}", "tensor_shape": shape}


def signature_def(**signatures):
    """What a server tells of signatures, init op included.

    Args:
        signatures: Pairs of inputs and outputs, each with the dtype and the sides of its tensors.
    """
    signatures["__saved_model_init_op"] = {}, {"__saved_model_init_op": ("INVALID",)}
    return {
        name: {
            side: {key: tensor(*spec) for key, spec in specs.items()}
            for side, specs in zip(("inputs", "outputs"), pair, strict=True)
        }
        for name, pair in signatures.items()
    }


def signatures(width):
    """Those of ``tiny`` and others of tfae's models, which score."""
    x, score = {"x": ("FLOAT", -1, width)}, {"instance_score": ("FLOAT", -1)}
    return {
        "serving_default": (x, {"reconstruction": ("FLOAT", -1, width)}),
        "score": (x, score),
        "serve_image_bytes": ({"image_bytes": ("STRING", -1)}, score),
        "serve_tf_examples": ({"examples": ("STRING", -1)}, score),
    }


def answer(signature, x, version):
    """What ``tiny`` makes of x; scores are the sums of rows."""
    return (x.sum(axis=1) if signature == "score" else x) * (version + 1)
