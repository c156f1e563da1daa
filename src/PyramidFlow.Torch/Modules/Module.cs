using System.Collections.Concurrent;
using System.Reflection;
using System.Text;

namespace PyramidFlow.Torch;

/// <summary>
/// A part of a model. Its parameters and children are its fields of type <see cref="Parameter"/>, <see cref="Module"/>
/// and lists of modules. The state-dict key of a field <c>projMlp</c> is <c>proj_mlp</c> unless <see cref="KeyAttribute"/>
/// names another.
/// </summary>
public abstract class Module : IDisposable
{
    private static readonly ConcurrentDictionary<Type, (FieldInfo Field, string Key)[]> Members = new();

    private StateSource? attached;

    /// <summary>All parameters with their state-dict keys, in field order.</summary>
    /// <param name="prefix">Prefix of every key, without the dot.</param>
    public IEnumerable<(string Key, Parameter Parameter)> NamedParameters(string prefix = "")
    {
        var lead = prefix.Length == 0 ? "" : prefix + ".";
        foreach (var (field, key) in Members.GetOrAdd(GetType(), FindMembers))
        {
            switch (field.GetValue(this))
            {
                case Parameter parameter:
                    yield return (lead + key, parameter);
                    break;
                case Module child:
                    foreach (var named in child.NamedParameters(lead + key))
                        yield return named;
                    break;
                case IEnumerable<Module?> list:
                    var index = -1;
                    foreach (var child in list)
                    {
                        index++;
                        if (child is null)
                            continue;
                        foreach (var named in child.NamedParameters($"{lead}{key}.{index}"))
                            yield return named;
                    }

                    break;
            }
        }
    }

    /// <summary>This module and all modules inside it, with the prefix of their keys.</summary>
    /// <param name="path">Prefix of this module.</param>
    public IEnumerable<(string Path, Module Module)> NamedModules(string path = "")
    {
        yield return (path, this);
        var lead = path.Length == 0 ? "" : path + ".";
        foreach (var (field, key) in Members.GetOrAdd(GetType(), FindMembers))
        {
            var children = field.GetValue(this) switch
            {
                Module child => [(lead + key, child)],
                IEnumerable<Module?> list => list.Select((child, index) => ($"{lead}{key}.{index}", child)),
                _ => Enumerable.Empty<(string, Module?)>(),
            };
            foreach (var named in children.Where(c => c.Item2 is not null).SelectMany(c => c.Item2!.NamedModules(c.Item1)))
                yield return named;
        }
    }

    /// <summary>Loads all weights from a checkpoint; they stay memory-mapped where type and device match.</summary>
    /// <param name="source">The checkpoint; it may hold other models as well (<see cref="StateSource.ForModel"/>).</param>
    /// <param name="type">Element type of floating point weights; null keeps that of the checkpoint.</param>
    /// <param name="device">Device of the weights; null is the CPU.</param>
    /// <param name="ignore">Selects keys of the checkpoint that may stay unused.</param>
    /// <exception cref="CheckpointException">Keys are missing, unexpected or have another shape; the message names all of them.</exception>
    public void Load(StateSource source, ElementType? type = null, Device? device = null, Func<string, bool>? ignore = null)
    {
        foreach (var (parameter, stored) in Stored(source, type, device, ignore, again: false))
            parameter.Value = stored.Fetch();
    }

    /// <summary>
    /// Like <see cref="Load"/>, but lazily: each weight is read when it is first used, and can be freed
    /// (<see cref="Release"/>) and read again.
    /// </summary>
    /// <param name="source">The checkpoint; the module owns it from now on, also if this call fails.</param>
    /// <param name="type">Element type of floating point weights; null keeps that of the checkpoint.</param>
    /// <param name="device">Device of the weights; null is the CPU.</param>
    /// <exception cref="CheckpointException">As for <see cref="Load"/>.</exception>
    public void Attach(StateSource source, ElementType? type = null, Device? device = null)
    {
        attached?.Dispose();
        attached = source;
        foreach (var (parameter, stored) in Stored(source, type, device, null, again: true))
            parameter.Attach(stored);
    }

    /// <summary>Frees all weights that can be read again (<see cref="Attach"/>); weights that were set since stay.</summary>
    /// <returns>Whether any weight was freed.</returns>
    public bool Release()
    {
        foreach (var stream in NamedModules().SelectMany(named => named.Module.Streams))
            stream.Settle();
        var released = false;
        foreach (var (_, parameter) in NamedParameters())
            released |= parameter.Release();
        return released;
    }

    /// <summary>
    /// Turns weight streaming on or off: a model made of blocks then reads the weights of a block before it runs and frees them
    /// afterwards. Affects only attached weights (<see cref="Attach"/>) and no results; models without blocks ignore it.
    /// </summary>
    public virtual void StreamWeights(bool on = true)
    {
    }

    /// <summary>Compares the keys, shapes and types of a checkpoint with this model; reads no weight.</summary>
    /// <param name="source">The checkpoint; it may hold other models as well (<see cref="StateSource.ForModel"/>).</param>
    /// <param name="ignore">Selects keys of the checkpoint that may stay unused.</param>
    /// <returns>One clause for each key that is missing, unexpected or has another shape.</returns>
    public IReadOnlyList<string> FindMismatches(StateSource source, Func<string, bool>? ignore = null)
    {
        source = source.ForModel([.. NamedParameters().Select(p => p.Key)]);
        var available = source.Keys.ToHashSet();
        foreach (var (path, module) in NamedModules())
            module.Adopt(key => available.Contains(path.Length == 0 ? key : $"{path}.{key}"));
        var parameters = NamedParameters().ToList();
        var known = parameters.Select(p => p.Key).ToHashSet();
        var faults = new List<string>();
        faults.AddRange(known.Where(key => !available.Contains(key)).Select(CheckpointFault.KeyMissing));
        faults.AddRange(available.Where(key => !known.Contains(key) && !Ignores(key) && ignore?.Invoke(key) != true)
            .Select(CheckpointFault.KeyUnknown));
        foreach (var (key, parameter) in parameters.Where(p => available.Contains(p.Key)))
        {
            var (shape, type) = source.Describe(key);
            if (key.EndsWith("weight", StringComparison.Ordinal) && (type == ElementType.Int8) != available.Contains(key + "_scale"))
                faults.Add(type == ElementType.Int8 ? CheckpointFault.FactorsMissing(key, key + "_scale") : CheckpointFault.FactorsUnexpected(key));
            if (!shape.SequenceEqual(parameter.Shape))
                faults.Add(CheckpointFault.ShapeDiffers(key, shape, parameter.Shape));
        }

        return faults;
    }

    /// <summary>Allocates every weight with the initial value of its layer, in float32 on the CPU.</summary>
    public void Initialize(RandomGenerator generator)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (_, parameter) in NamedParameters())
        {
            using var scope = new TensorScope();
            var value = Tensor.Empty(parameter.Shape);
            parameter.Fill(value, generator);
            parameter.Value = value;
        }
    }

    /// <summary>Converts all floating point weights and moves all weights.</summary>
    public void To(ElementType type, Device? device = null)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (_, parameter) in NamedParameters())
        {
            using var scope = new TensorScope();
            var value = parameter.Value.Type.IsFloatingPoint() ? parameter.Value.To(type) : parameter.Value;
            parameter.Value = device is { } place ? value.To(place) : value;
        }
    }

    /// <summary>Number of weights.</summary>
    public long ParameterCount() => NamedParameters().Sum(p => p.Parameter.ElementCount);

    /// <summary>Frees all weights.</summary>
    public void Dispose()
    {
        foreach (var stream in NamedModules().SelectMany(named => named.Module.Streams))
            stream.Settle();
        foreach (var (_, parameter) in NamedParameters())
            parameter.Free();
        attached?.Dispose();
        attached = null;
        GC.SuppressFinalize(this);
    }

    /// <summary>Declares the weights that only some checkpoints hold; called before a checkpoint is read.</summary>
    /// <param name="holds">Tells whether the checkpoint holds a key, relative to this module.</param>
    protected virtual void Adopt(Func<string, bool> holds)
    {
    }

    /// <summary>The streams created by <see cref="StreamWeights"/>.</summary>
    private protected virtual IEnumerable<WeightStream> Streams => [];

    /// <summary>Whether checkpoints may hold this key although the model does not use it, such as a tied copy.</summary>
    protected virtual bool Ignores(string key) => false;

    // Every parameter with its stored weight, after the checkpoint was compared with the model.
    private List<(Parameter Parameter, StoredWeight Stored)> Stored(StateSource source, ElementType? type, Device? device, Func<string, bool>? ignore, bool again)
    {
        source = source.ForModel([.. NamedParameters().Select(p => p.Key)]);
        if (FindMismatches(source, ignore) is { Count: > 0 } faults)
            throw CheckpointFault.WeightsMisfit(source.Name, faults);

        return [.. NamedParameters().Select(p => (p.Parameter, new StoredWeight(source, p.Key, type, device, again)))];
    }

    private static (FieldInfo Field, string Key)[] FindMembers(Type type)
    {
        var chain = new Stack<Type>();
        for (var t = type; t is not null && t != typeof(Module); t = t.BaseType)
            chain.Push(t);
        return [.. chain
            .SelectMany(t => t.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
                .OrderBy(f => f.MetadataToken))
            .Where(f => f.FieldType == typeof(Parameter) || typeof(Module).IsAssignableFrom(f.FieldType)
                || typeof(IEnumerable<Module?>).IsAssignableFrom(f.FieldType))
            .Select(f => (f, f.GetCustomAttribute<KeyAttribute>()?.Key ?? SnakeCase(f.Name)))];
    }

    private static string SnakeCase(string name)
    {
        var result = new StringBuilder(name.Length + 4);
        foreach (var c in name)
        {
            if (char.IsUpper(c) && result.Length > 0)
                result.Append('_');
            result.Append(char.ToLowerInvariant(c));
        }

        return result.ToString();
    }
}

/// <summary>State-dict key of a field, where it is not the name of the field in snake case.</summary>
[AttributeUsage(AttributeTargets.Field)]
public sealed class KeyAttribute(string key) : Attribute
{
    /// <summary>The key, relative to the module; may hold dots.</summary>
    public string Key { get; } = key;
}
