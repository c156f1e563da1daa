using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Torch.Distributed;

/// <summary>Rank of this process, and the store where all processes of a group meet.</summary>
/// <param name="Rank">Rank of this process, from 0.</param>
/// <param name="WorldSize">Number of processes, at least 1.</param>
/// <param name="LocalRank">Rank among the processes of this machine, from 0.</param>
/// <param name="Address">Address of the machine that serves the store.</param>
/// <param name="Port">Port of the store.</param>
public sealed record Rendezvous(int Rank, int WorldSize, int LocalRank, string Address, int Port)
{
    /// <summary>Variable in which <c>launch</c> names the file of the store.</summary>
    internal const string StoreVariable = "PYRAMIDFLOW_GROUP_STORE";

    private const int DefaultPort = 29500;
    private const string ThisMachine = "127.0.0.1";

    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(200);

    /// <summary>Number of processes on this machine, which share its threads; 1 where nobody says it.</summary>
    public int LocalSize { get; init; } = 1;

    /// <summary>File that holds the store in place of an address, for processes of one machine; null is TCP.</summary>
    public string? StoreFile { get; init; }

    /// <summary>Whether another program, such as torchrun, serves the store. Otherwise rank zero does.</summary>
    public bool IsServed { get; init; }

    /// <summary>Beginning of the keys of this group.</summary>
    public string Prefix { get; init; } = "pyramidflow";

    /// <summary>Reads what <c>launch</c>, torchrun, srun or mpirun say in environment variables.</summary>
    /// <param name="variable">Returns the value of a variable or null, such as <see cref="Environment.GetEnvironmentVariable(string)"/>.</param>
    /// <returns>Null for a single process.</returns>
    /// <exception cref="ProcessGroupException">A variable is missing or impossible.</exception>
    public static Rendezvous? FromEnvironment(Func<string, string?> variable)
    {
        var own = variable("WORLD_SIZE") is not null || variable("RANK") is not null;
        (string Rank, string Size, string Local, string LocalSize)[] programs =
        [
            ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
            ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
            ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
            ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
        ];
        foreach (var program in own ? programs[..1] : programs)
        {
            if (!own && variable(program.Size) is null)
                continue;
            var size = Number(program.Size, 1, int.MaxValue);
            var rank = Number(program.Rank, 0, size - 1);
            if (size == 1)
                return null;
            var local = variable(program.Local) is null ? rank : Number(program.Local, 0, size - 1);
            // Slurm writes 4(x2),3 where two machines have four tasks each.
            var localSize = int.TryParse(variable(program.LocalSize)?.Split('(', ',')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var here) && here >= 1 ? here : 1;
            if (variable(StoreVariable) is { Length: > 0 } file)
                return new Rendezvous(rank, size, local, ThisMachine, 0) { LocalSize = localSize, StoreFile = file };
            return new Rendezvous(rank, size, local, AddressOf(program.Size, size), variable("MASTER_PORT") is null && !own ? PortOfJob() : Number("MASTER_PORT", 1, ushort.MaxValue))
            {
                LocalSize = localSize,
                IsServed = variable("TORCHELASTIC_USE_AGENT_STORE") is "True",
                Prefix = $"pyramidflow/{variable("TORCHELASTIC_RUN_ID")}/{variable("TORCHELASTIC_RESTART_COUNT")}",
            };
        }

        return null;

        int Number(string name, int least, int most) => variable(name) is not { } text ? throw ProcessGroupFault.VariableMissing(name)
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw ProcessGroupFault.VariableOutOfRange(name, text, least, most);

        // Jobs of one machine at the same time need ports of their own.
        int PortOfJob() => long.TryParse(variable("SLURM_JOB_ID"), NumberStyles.None, CultureInfo.InvariantCulture, out var job) ? DefaultPort + (int)(job % 1000) : DefaultPort;

        string AddressOf(string sizeVariable, int size) => variable("MASTER_ADDR")
            ?? (sizeVariable == "SLURM_STEP_NUM_TASKS" && (variable("SLURM_STEP_NODELIST") ?? variable("SLURM_JOB_NODELIST")) is { } nodes ? FirstNode(nodes) : null)
            ?? (variable("OMPI_COMM_WORLD_LOCAL_SIZE") == size.ToString(CultureInfo.InvariantCulture) ? ThisMachine : throw ProcessGroupFault.VariableMissing("MASTER_ADDR"));
    }

    /// <summary>The first machine of a list as Slurm writes it: <c>node[03-07,9],other</c> begins with <c>node03</c>.</summary>
    internal static string FirstNode(string nodes)
    {
        var bracket = nodes.IndexOf('[', StringComparison.Ordinal);
        var comma = nodes.IndexOf(',', StringComparison.Ordinal);
        if (bracket < 0 || (comma >= 0 && comma < bracket))
            return comma < 0 ? nodes : nodes[..comma];
        var end = nodes.IndexOfAny([',', '-', ']'], bracket);
        return nodes[..bracket] + (end < 0 ? nodes[(bracket + 1)..] : nodes[(bracket + 1)..end]);
    }

    /// <summary>Opens the store, and waits for the process that serves it.</summary>
    /// <param name="serve">Whether this process serves the store where no other program does.</param>
    /// <param name="options">Limit of the waiting.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    internal KeyValueStore OpenStore(bool serve, GroupOptions options, CancellationToken cancellationToken)
    {
        if (StoreFile is { } file)
            return Guard(() => KeyValueStore.InFile(file, options.Limit), e => ProcessGroupFault.StoreFileFailed(file, e));
        if (serve && Rank == 0 && !IsServed)
            return Guard(() => KeyValueStore.OverTcp(Address, Port, true, Prefix, options.Limit), e => ProcessGroupFault.PortInUse(Port, e));
        var begin = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                // Each attempt is short, so that Ctrl-C is heard while rank zero is not there.
                var store = KeyValueStore.OverTcp(Address, Port, false, Prefix, options.Limit < TimeSpan.FromSeconds(2) ? options.Limit : TimeSpan.FromSeconds(2));
                var word = $"{Rank}/{Environment.ProcessId}";
                store.Set($"hello/{word}", word);
                if (store.TryGet($"hello/{word}") == word)
                    return store;
                store.Dispose();
                throw ProcessGroupFault.NoStore(Address, Port);
            }
            catch (TorchException e)
            {
                var waited = Stopwatch.GetElapsedTime(begin);
                if (waited > options.Limit)
                    throw ProcessGroupFault.NoAnswer(Address, Port, e);
                options.Waiting?.Report(new GroupWaiting([0], WorldSize, waited, options.Limit));
            }

            if (cancellationToken.WaitHandle.WaitOne(Retry))
                cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private static KeyValueStore Guard(Func<KeyValueStore> open, Func<TorchException, ProcessGroupException> explain)
    {
        try
        {
            return open();
        }
        catch (TorchException e)
        {
            throw explain(e);
        }
    }
}

/// <summary>How a group of processes meets and waits.</summary>
public sealed record GroupOptions
{
    /// <summary>Longest time that any wait for another process takes.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Whether tensors of GPUs move through NCCL; otherwise all tensors move through Gloo, over the CPU.</summary>
    public bool UseNccl { get; init; }

    /// <summary>Receives who is missing while this process waits at the start; null reports nothing.</summary>
    public IProgress<GroupWaiting>? Waiting { get; init; }
}

/// <summary>A wait for other processes at the start.</summary>
/// <param name="Missing">Ranks that have not come.</param>
/// <param name="WorldSize">Number of processes.</param>
/// <param name="Waited">Time since the wait began.</param>
/// <param name="Limit">Time after which the wait ends with an error.</param>
public sealed record GroupWaiting(IReadOnlyList<int> Missing, int WorldSize, TimeSpan Waited, TimeSpan Limit);
