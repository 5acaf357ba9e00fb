def node_in_network(network, layer):
    """Returns the node of a layer in a functional model: its inputs and outputs there.

    In contrast to `layer.output`, the layer may be part of several models, as a layer
    is with which a network was built twice.
    """
    known, pending = set(), list(network.outputs)
    while pending:
        tensor = pending.pop()
        if id(tensor) in known:
            continue
        known.add(id(tensor))
        operation, number, _ = tensor._keras_history
        node = operation._inbound_nodes[number]
        if operation is layer:
            return node
        pending += node.input_tensors
    raise ValueError(
        "`layer` must be part of the network. "
        f"Received: layer={layer.name}, network={network.name}"
    )
