using System.Globalization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Page.State;

/// <summary>Texts for workers and keys on the page of administrators.</summary>
internal static class WorkerWords
{
    /// <summary>The work of a worker.</summary>
    public static string State(SeenWorker worker)
    {
        var state = worker.State;
        if (!worker.IsAlive)
            return $"No sign of life for {Words.Time(Math.Round(state.Age.TotalSeconds))}";
        var work = state.Job is null ? "Idle" : string.Create(CultureInfo.InvariantCulture, $"Makes a video of {ApiKeys.NameOfOwner(state.Owner?.Name ?? "")}, {Math.Floor(state.Fraction * 100)}%");
        return state.Entry.IsDraining ? $"{work}, takes no more videos" : work;
    }

    /// <summary>The models, LoRAs, device and memory of a worker.</summary>
    public static string Equipment(WorkerEntry worker) => string.Join(" · ", new[]
    {
        string.Join(", ", worker.Models),
        worker.Loras.Count == 0 ? "" : $"LoRAs: {string.Join(", ", worker.Loras)}",
        worker.Processes == 1 ? worker.Device : string.Create(CultureInfo.InvariantCulture, $"{worker.Device}, {worker.Processes} processes"),
        $"memory {Words.Bytes(worker.MemoryUsed)} of {Words.Bytes(worker.Memory)}",
    }.Where(each => each.Length > 0));

    /// <summary>What a key uses.</summary>
    public static string Use(KeyState key) => string.Create(CultureInfo.InvariantCulture,
        $"{key.Use.Today} today · {key.Use.Running} running, {key.Use.Waiting} waiting, {key.Use.Completed} completed, {key.Use.Failed} failed · {Words.Bytes(key.Use.Bytes)}");

    /// <summary>What a key is held to.</summary>
    public static string Limits(ServerLimits limits) => string.Create(CultureInfo.InvariantCulture,
        $"At most {limits.ActiveJobs} at a time, {limits.RequestsPerMinute} a minute{(limits.VideosPerDay == int.MaxValue ? "" : $", {limits.VideosPerDay.ToString(CultureInfo.InvariantCulture)} a day")}");
}
