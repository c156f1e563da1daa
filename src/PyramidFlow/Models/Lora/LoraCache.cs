using PyramidFlow.Torch;

namespace PyramidFlow.Models.Lora;

/// <summary>
/// Adds LoRAs to a model for a while and takes them off again. The weights of the model never change: others with the LoRAs stand in their place meanwhile
/// (<see cref="Parameter.Cover"/>). The weights of the last LoRAs are kept, so that their next use takes no time. Not thread-safe.
/// </summary>
/// <param name="model">Model with weights.</param>
internal sealed class LoraCache(Module model) : IDisposable
{
    // The one that was used last stands last.
    private readonly List<LoraWeights> kept = [];

    /// <summary>Bytes of all kept weights.</summary>
    public long Bytes => kept.Sum(weights => weights.Bytes);

    /// <summary>Number of different uses whose weights are kept.</summary>
    public int Count => kept.Count;

    /// <summary>Adds LoRAs, one after another. Disposing the result takes them off.</summary>
    /// <param name="loras">The LoRAs.</param>
    /// <param name="budget">Most bytes that are kept afterwards. Meanwhile no more are held either, unless these LoRAs alone need more.</param>
    /// <param name="cancellationToken">Checked before each layer.</param>
    /// <exception cref="CheckpointException">
    /// A LoRA is missing, damaged or one of another model; the model is as it was, and <see cref="CheckpointException.IsOfRequestedLora"/> is set.
    /// </exception>
    public IDisposable Use(IReadOnlyList<LoraUse> loras, long budget, CancellationToken cancellationToken)
    {
        try
        {
            return Added(loras, budget, cancellationToken);
        }
        catch (CheckpointException e)
        {
            e.IsOfRequestedLora = true;
            throw;
        }
    }

    /// <summary>Frees the weights that were used longest ago until the rest takes no more than so many bytes.</summary>
    public void Keep(long most)
    {
        for (var bytes = Bytes; kept.Count > 0 && bytes > most; kept.RemoveAt(0))
        {
            bytes -= kept[0].Bytes;
            kept[0].Free();
        }
    }

    private Turn Added(IReadOnlyList<LoraUse> loras, long budget, CancellationToken cancellationToken)
    {
        var key = string.Join('\n', loras.Select(KeyOf));
        if (kept.Find(weights => weights.Key == key) is { } known)
        {
            kept.Remove(known);
            known.Cover();
        }
        else
            known = Merged(key, loras, budget, cancellationToken);
        kept.Add(known);
        return new Turn(this, known, budget);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        kept.ForEach(weights => weights.Free());
        kept.Clear();
    }

    private static string KeyOf(LoraUse lora)
    {
        var place = LoraPlace.Find(lora.Path);
        try
        {
            return FormattableString.Invariant($"{place.State()} {lora.Weight:R}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CheckpointFault.Unreadable(place.File, e);
        }
    }

    private LoraWeights Merged(string key, IReadOnlyList<LoraUse> loras, long budget, CancellationToken cancellationToken)
    {
        var weights = new LoraWeights(key);
        try
        {
            foreach (var lora in loras)
            {
                LoraFile.Merge(model, lora.Path, lora.Weight, (target, merged) =>
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    weights.Put(target, merged);
                    Keep(budget - weights.Bytes);
                });
            }

            return weights;
        }
        catch
        {
            weights.Uncover();
            weights.Free();
            throw;
        }
    }

    private sealed class Turn(LoraCache cache, LoraWeights weights, long budget) : IDisposable
    {
        public void Dispose()
        {
            weights.Uncover();
            cache.Keep(budget);
        }
    }
}

/// <summary>The weights of a model that some LoRAs change, with these LoRAs.</summary>
/// <param name="key">Identifies the LoRAs and their factors.</param>
internal sealed class LoraWeights(string key)
{
    private readonly Dictionary<Parameter, Tensor> changed = [];

    /// <summary>Identifies the LoRAs and their factors.</summary>
    public string Key => key;

    /// <summary>Bytes of the weights.</summary>
    public long Bytes { get; private set; }

    /// <summary>Puts a weight in place of that of the model, which is freed where it can be read again.</summary>
    /// <param name="target">The weight of the model.</param>
    /// <param name="merged">The weight with another LoRA; belongs to this object from now on.</param>
    public void Put(Parameter target, Tensor merged)
    {
        target.Cover(TensorScope.Release(merged));
        target.Release();
        if (changed.Remove(target, out var before))
            Free(before);
        else
            Bytes += merged.ElementCount * merged.Type.Size();
        changed.Add(target, merged);
    }

    /// <summary>Puts all weights in place of those of the model.</summary>
    public void Cover()
    {
        foreach (var (target, merged) in changed)
            target.Cover(merged);
    }

    /// <summary>Uses the weights of the model again.</summary>
    public void Uncover()
    {
        foreach (var target in changed.Keys)
            target.Uncover();
    }

    /// <summary>Frees the weights, which must not stand in place of others.</summary>
    public void Free()
    {
        foreach (var merged in changed.Values)
            Free(merged);
        changed.Clear();
    }

    // Queued GPU work may still use it.
    private static void Free(Tensor merged)
    {
        TorchRuntime.Synchronize(merged.Device);
        merged.Dispose();
    }
}
