using System.Globalization;

namespace PyramidFlow.Torch.Distributed;

/// <summary>Which of several processes this is, as torchrun says it in environment variables.</summary>
/// <param name="Rank">This process, from 0 (<c>RANK</c>).</param>
/// <param name="Size">Number of processes (<c>WORLD_SIZE</c>).</param>
/// <param name="LocalRank">This process among those of its machine, from 0 (<c>LOCAL_RANK</c>).</param>
/// <param name="Address">Where the first process listens (<c>MASTER_ADDR</c>).</param>
/// <param name="Port">Its port (<c>MASTER_PORT</c>).</param>
public sealed record ProcessPlace(int Rank, int Size, int LocalRank, string Address, int Port)
{
    /// <summary>Reads the variables.</summary>
    /// <param name="variable">Gives a variable's value or null, such as <see cref="Environment.GetEnvironmentVariable(string)"/>.</param>
    /// <returns>Null where there is one process only.</returns>
    /// <exception cref="ProcessGroupException">A variable is missing or impossible.</exception>
    public static ProcessPlace? Of(Func<string, string?> variable)
    {
        if (variable("WORLD_SIZE") is null && variable("RANK") is null)
            return null;
        var size = Number("WORLD_SIZE", 1, int.MaxValue);
        var rank = Number("RANK", 0, size - 1);
        if (size == 1)
            return null;
        var local = variable("LOCAL_RANK") is null ? rank : Number("LOCAL_RANK", 0, size - 1);
        return new ProcessPlace(rank, size, local, variable("MASTER_ADDR") ?? throw Missing("MASTER_ADDR"), Number("MASTER_PORT", 1, ushort.MaxValue));

        int Number(string name, int least, int most) => variable(name) is not { } text ? throw Missing(name)
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw new ProcessGroupException($"{name} is '{text}': it must be {least} to {most}; start several processes with pyramidflow launch or torchrun");
    }

    private static ProcessGroupException Missing(string name) =>
        new($"{name} is not set, though others of its kind are: start several processes with pyramidflow launch or torchrun");
}
