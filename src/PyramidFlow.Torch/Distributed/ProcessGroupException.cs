namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// The processes of a group cannot meet or continue together. <see cref="PyramidFlowException.Parameters"/> names the <c>rank</c> or the
/// <c>variable</c> concerned; the message says how to fix it.
/// </summary>
public sealed class ProcessGroupException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>process_gone</c>.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about.</param>
    public ProcessGroupException(string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>All errors of process groups: the only place of their codes and sentences.</summary>
internal static class ProcessGroupFault
{
    public static ProcessGroupException VariableMissing(string variable) =>
        new("variable_missing", $"{variable} is not set, though others of its kind are: start several processes with pyramidflow launch or torchrun", null, ("variable", variable));

    public static ProcessGroupException VariableOutOfRange(string variable, string value, int least, int most) =>
        new("variable_out_of_range", $"{variable} is '{value}': it must be {least} to {most}; start several processes with pyramidflow launch or torchrun", null,
            ("variable", variable), ("value", value), ("least", least), ("most", most));

    public static ProcessGroupException Absent(int missing, int worldSize, string address, int port) =>
        new("processes_absent", $"{missing} of {worldSize} processes did not come to {address}:{port}: start as many as WORLD_SIZE says", null,
            ("missing", missing), ("world_size", worldSize), ("port", port));

    public static ProcessGroupException RankTaken(int rank, int size, int worldSize) =>
        new("rank_taken", $"a process came as rank {rank} of {size}, which is taken or not one of {worldSize}: give every process a RANK of its own and the same WORLD_SIZE", null,
            ("rank", rank), ("size", size), ("world_size", worldSize));

    public static ProcessGroupException PortInUse(int port, Exception inner) =>
        new("port_in_use", $"cannot listen on port {port} ({inner.Message}): set MASTER_PORT to a free one", inner, ("port", port));

    public static ProcessGroupException NoAnswer(string address, int port, Exception inner) =>
        new("no_answer", $"process 0 does not answer at {address}:{port} ({inner.Message}): start it too, and check MASTER_ADDR and MASTER_PORT", inner,
            ("rank", 0), ("address", address), ("port", port));

    public static ProcessGroupException Stranger(int rank) =>
        new("stranger", $"what connected as process {rank} is no pyramidflow of this version: check MASTER_ADDR and MASTER_PORT", null, ("rank", rank));

    /// <summary>The error for a process that makes another call than this one.</summary>
    /// <param name="rank">The other process.</param>
    /// <param name="other">Its call, such as "Sum 3 of 10 numbers".</param>
    /// <param name="own">The call of this process.</param>
    public static ProcessGroupException OutOfStep(int rank, string other, string own) =>
        new("out_of_step", $"process {rank} is at {other}, this one at {own}: start all processes with the same program, configuration and folder", null,
            ("rank", rank), ("other", other), ("own", own));

    /// <summary>The error for a process that begins at another step of a training than rank zero.</summary>
    public static ProcessGroupException OtherStep(int rank, long step, long first) =>
        new("other_step", $"process {rank} is at step {step}, the first one at {first}: give all processes the same --out folder", null,
            ("rank", rank), ("step", step), ("first", first));

    public static ProcessGroupException Gone(int rank, Exception inner) =>
        new("process_gone", $"process {rank} is gone: see what it said last, then start all processes again to go on from the last checkpoint", inner, ("rank", rank));
}
