using System.Runtime.ExceptionServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server.Worker;

/// <summary>Messages of the process that has the queue to those that make each video together with it.</summary>
/// <param name="group">The processes; rank zero has the queue.</param>
internal sealed class TeamChannel(ProcessGroup group)
{
    /// <summary>Tells the others what comes, from rank zero.</summary>
    /// <param name="call">The message.</param>
    /// <param name="job">The video, where one comes.</param>
    /// <exception cref="ProcessGroupException">A process is gone.</exception>
    public void Send(TeamCall call, TeamJob? job = null)
    {
        var text = job is null ? [] : JsonSerializer.SerializeToUtf8Bytes(job, TeamJson.Default.TeamJob);
        var pixels = job?.Pixels?.ToArray();
        group.Broadcast<long>([(long)call, text.Length, pixels?.Length ?? -1]);
        Share(text);
        Share(pixels ?? []);
    }

    /// <summary>Waits for what rank zero tells, which says something at least every third of the limit of waits.</summary>
    /// <returns>The message, and its video where it has one.</returns>
    /// <exception cref="ProcessGroupException">Rank zero is gone.</exception>
    public (TeamCall Call, TeamJob? Job) Receive()
    {
        var header = new long[3];
        group.Broadcast<long>(header);
        var text = Share(new byte[header[1]]);
        var pixels = Share(new byte[Math.Max(0, header[2])]);
        var job = text.Length == 0 ? null : JsonSerializer.Deserialize(text, TeamJson.Default.TeamJob);
        return ((TeamCall)header[0], header[2] < 0 || job is null ? job : job with { Pixels = pixels });
    }

    /// <summary>Learns whether all processes are ready to make the video; none begins it otherwise.</summary>
    /// <param name="fault">Why this process is not ready; null where it is.</param>
    /// <exception cref="ServiceException">Another process is not ready. The fault of this process is thrown as it is.</exception>
    /// <exception cref="ProcessGroupException">A process is gone.</exception>
    public void AgreeOnStart(Exception? fault)
    {
        var own = fault is null ? [] : Encoding.UTF8.GetBytes(Sentence.First(fault) is { Length: > 0 } text ? text : fault.GetType().Name);
        var lengths = new int[group.WorldSize];
        lengths[group.Rank] = own.Length;
        group.AllReduce<int>(lengths);
        if (Array.FindIndex(lengths, length => length > 0) is not (>= 0 and var rank))
            return;
        var sentence = group.Rank == rank ? own : new byte[lengths[rank]];
        Share(sentence, rank);
        if (fault is not null)
            ExceptionDispatchInfo.Throw(fault);
        throw ServiceFault.ProcessNotReady(rank, Encoding.UTF8.GetString(sentence));
    }

    // Bytes of one process, in all of them.
    private byte[] Share(byte[] bytes, int root = 0)
    {
        if (bytes.Length == 0)
            return bytes;
        using var scope = new Torch.TensorScope();
        var tensor = Torch.Tensor.From(bytes);
        group.Broadcast(tensor, root);
        tensor.Data<byte>().CopyTo(bytes);
        return bytes;
    }
}

/// <summary>A message of rank zero to the other processes.</summary>
internal enum TeamCall
{
    /// <summary>That it lives, and has nothing for them.</summary>
    Wait,

    /// <summary>That they make a video together now.</summary>
    Make,

    /// <summary>That they end.</summary>
    End,
}

/// <summary>A video that several processes make together, with all that those without the queue and its folder need.</summary>
/// <param name="Model">Id of the model.</param>
/// <param name="Request">What to make.</param>
/// <param name="Conditioning">What it begins with; null is nothing.</param>
internal sealed record TeamJob(string Model, VideoRequest Request, ConditioningInput? Conditioning)
{
    /// <summary>Changes that an earlier attempt has accepted, by their units; null for none.</summary>
    public IReadOnlyList<ClipChange>? Changes { get; init; }

    /// <summary>Pixels of the picture or the frames that it begins with; interleaved RGB bytes.</summary>
    [JsonIgnore]
    public ReadOnlyMemory<byte>? Pixels { get; init; }
}

/// <summary>The video as text.</summary>
[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UseStringEnumConverter = true)]
[JsonSerializable(typeof(TeamJob))]
internal sealed partial class TeamJson : JsonSerializerContext;
