using System.Globalization;

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
    /// <summary>Code of processes that were started with something different.</summary>
    public const string DiffersCode = "processes_differ";

    public static ProcessGroupException VariableMissing(string variable) =>
        new("variable_missing", $"{variable} is not set, though others of its kind are: start several processes with pyramidflow launch, torchrun, srun or mpirun", null, ("variable", variable));

    public static ProcessGroupException VariableOutOfRange(string variable, string value, int least, int most) =>
        new("variable_out_of_range", $"{variable} is '{value}': it must be {least} to {most}; start several processes with pyramidflow launch, torchrun, srun or mpirun", null,
            ("variable", variable), ("value", value), ("least", least), ("most", most));

    public static ProcessGroupException Absent(IReadOnlyList<int> missing, int worldSize, TimeSpan limit) =>
        new("processes_absent", string.Create(CultureInfo.InvariantCulture, $"{List(missing)} of {worldSize} did not come within {limit.TotalSeconds:0.#} s: start as many as WORLD_SIZE says, and see what they said last"), null,
            ("missing", missing.Count), ("world_size", worldSize), ("rank", missing[0]));

    public static ProcessGroupException RankTaken(int rank, int worldSize) =>
        new("rank_taken", $"two processes came as process {rank} of {worldSize}: give every process a RANK of its own, and every group an address or a port of its own", null,
            ("rank", rank), ("world_size", worldSize));

    public static ProcessGroupException PortInUse(int port, Exception inner) =>
        new("port_in_use", $"cannot serve the store of the processes on port {port} ({inner.Message}): set MASTER_PORT to a free one", inner, ("port", port));

    public static ProcessGroupException StoreFileFailed(string file, Exception inner) =>
        new("store_file_failed", $"{file} cannot be used as the store of the processes ({inner.Message}): make room, or choose another folder for temporary files with TMPDIR", inner, ("file", file));

    public static ProcessGroupException NoAnswer(string address, int port, Exception inner) =>
        new("no_answer", $"process 0 does not answer at {address}:{port} ({inner.Message}): start it too, and check MASTER_ADDR and MASTER_PORT", inner,
            ("rank", 0), ("address", address), ("port", port));

    public static ProcessGroupException NoStore(string address, int port) =>
        new("no_store", $"what answers at {address}:{port} is no store of this libtorch: check MASTER_ADDR and MASTER_PORT, and that all processes have the same libtorch", null,
            ("address", address), ("port", port));

    public static ProcessGroupException BackendMissing(string backend) =>
        new("backend_missing", $"this build has no {backend}: "
            + (backend == "NCCL" ? "install the headers of NCCL and CUDA and build the native part again" : "install libgloo-dev and build the native part again"), null, ("backend", backend));

    /// <summary>The error for processes that were started with different programs, configurations, data or weights.</summary>
    /// <param name="rank">The process that differs from process 0.</param>
    /// <param name="fact">Name of the value that differs, such as a key of the configuration.</param>
    /// <param name="first">Its value in process 0.</param>
    /// <param name="other">Its value in the other process.</param>
    public static ProcessGroupException Differs(int rank, string fact, string first, string other) =>
        new(DiffersCode, $"{fact} is {first} in process 0 and {other} in process {rank}: start all processes with the same program, configuration, data and weights", null,
            ("rank", rank), ("fact", fact), ("first", first), ("other", other));

    /// <summary>The error for a process that makes another call than this one.</summary>
    /// <param name="rank">The other process.</param>
    /// <param name="other">Its call, such as "AllReduce 3 of 40 bytes".</param>
    /// <param name="own">The call of this process.</param>
    public static ProcessGroupException OutOfStep(int rank, string other, string own) =>
        new("out_of_step", $"process {rank} is at {other}, this one at {own}: start all processes with the same program, configuration and folder", null,
            ("rank", rank), ("other", other), ("own", own));

    public static ProcessGroupException Gone(int rank, Exception inner) =>
        new("process_gone", $"process {rank} is gone: see what it said last, then start all processes again to go on from the last checkpoint", inner, ("rank", rank));

    /// <summary>The error for a process that ended with an error and told the others.</summary>
    /// <param name="rank">The process.</param>
    /// <param name="sentence">Its error.</param>
    public static ProcessGroupException Ended(int rank, string sentence) =>
        new("process_ended", $"process {rank} ended: {sentence}", null, ("rank", rank));

    /// <summary>The error for a group of which a process left a run in the midst.</summary>
    public static ProcessGroupException Broken(int rank) =>
        new("group_broken", $"process {rank} left an earlier run where the others could not know it: start all processes again", null, ("rank", rank));

    /// <summary>The error of the group that another process found first.</summary>
    public static ProcessGroupException Repeated(string code, int rank, string sentence) => new(code, sentence, null, ("rank", rank));

    public static ProcessGroupException Disconnected(Exception inner) =>
        new("disconnected", $"the connection between the processes broke though all of them live ({inner.Message}): check the network between the machines, then start all processes again", inner);

    private static string List(IReadOnlyList<int> ranks) =>
        ranks.Count == 1 ? $"process {ranks[0]}" : $"processes {string.Join(", ", ranks.Take(8))}{(ranks.Count > 8 ? ", ..." : "")}";
}
