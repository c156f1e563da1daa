using Mono.Cecil;

namespace PyramidFlow.Cli.Tests;

/// <summary>Dependencies between namespaces, read from the compiled code of every assembly of ours.</summary>
public sealed class NamespaceCycleTests
{
    [Fact]
    public void No_namespaces_depend_on_each_other()
    {
        var edges = Edges();
        Assert.Contains(("PyramidFlow.Generation", "PyramidFlow.Models"), edges.Keys);
        var below = edges.Keys.ToLookup(edge => edge.From, edge => edge.To);
        var cycles = edges.Where(edge => Reaches(edge.Key.To, edge.Key.From)).Select(edge => $"{edge.Key.From} -> {edge.Key.To}: {string.Join(", ", edge.Value.Take(4))}").Order(StringComparer.Ordinal).ToList();
        Assert.True(cycles.Count == 0, string.Join('\n', cycles));

        bool Reaches(string from, string to)
        {
            var (seen, left) = (new HashSet<string> { from }, new Stack<string>([from]));
            while (left.TryPop(out var name))
            {
                if (name == to)
                    return true;
                foreach (var next in below[name].Where(seen.Add))
                    left.Push(next);
            }

            return false;
        }
    }

    // Each pair of namespaces of which one uses the other, with the types that do.
    private static Dictionary<(string From, string To), List<string>> Edges()
    {
        var edges = new Dictionary<(string, string), List<string>>();
        foreach (var path in Directory.GetFiles(AppContext.BaseDirectory, "PyramidFlow*.dll").Where(path => !path.EndsWith("Tests.dll", StringComparison.Ordinal)))
        {
            using var module = ModuleDefinition.ReadModule(path);
            foreach (var type in module.GetTypes())
            {
                foreach (var used in Used(type))
                {
                    var (from, to) = (NamespaceOf(type), NamespaceOf(used));
                    if (from == to || !IsOurs(from) || !IsOurs(to))
                        continue;
                    if (!edges.TryGetValue((from, to), out var list))
                        edges[(from, to)] = list = [];
                    var shown = $"{Outer(type).Name} uses {Outer(used).Name}";
                    if (!list.Contains(shown))
                        list.Add(shown);
                }
            }
        }

        return edges;
    }

    private static bool IsOurs(string name) => name == "PyramidFlow" || name.StartsWith("PyramidFlow.", StringComparison.Ordinal);

    private static string NamespaceOf(TypeReference type) => Outer(type).Namespace;

    private static TypeReference Outer(TypeReference type)
    {
        type = type.GetElementType();
        while (type.DeclaringType is not null)
            type = type.DeclaringType;
        return type;
    }

    private static IEnumerable<TypeReference> Used(TypeDefinition type)
    {
        IEnumerable<TypeReference?> direct =
        [
            type.BaseType, .. type.Interfaces.Select(each => each.InterfaceType), .. type.Fields.Select(field => field.FieldType),
            .. type.Methods.SelectMany(method => method.Parameters.Select(parameter => parameter.ParameterType).Prepend(method.ReturnType)),
            .. type.Methods.Where(method => method.HasBody).SelectMany(method => method.Body.Variables.Select(variable => variable.VariableType)
                .Concat(method.Body.Instructions.SelectMany(Operands))),
        ];
        return direct.OfType<TypeReference>().SelectMany(Parts);
    }

    private static IEnumerable<TypeReference?> Operands(Mono.Cecil.Cil.Instruction instruction) => instruction.Operand switch
    {
        TypeReference type => [type],
        GenericInstanceMethod method => [method.DeclaringType, method.ReturnType, .. method.GenericArguments],
        MethodReference method => [method.DeclaringType, method.ReturnType],
        FieldReference field => [field.DeclaringType, field.FieldType],
        _ => [],
    };

    private static IEnumerable<TypeReference> Parts(TypeReference type) => type is GenericInstanceType generic
        ? generic.GenericArguments.SelectMany(Parts).Prepend(generic.ElementType)
        : type is GenericParameter ? [] : [type];
}
