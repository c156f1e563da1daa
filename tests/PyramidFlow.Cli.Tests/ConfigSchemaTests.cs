using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using System.Xml.Linq;
using Json.Schema;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Tests;

/// <summary>The JSON schemas beside the training configurations: generated from the code, and accepted by a validator of the standard.</summary>
public sealed class ConfigSchemaTests
{
    private const string WriteVariable = "PYRAMIDFLOW_WRITE_SCHEMAS", SchemaKey = "$schema";

    private static readonly JsonDocumentOptions WithComments = new() { CommentHandling = JsonCommentHandling.Skip };

    private static readonly IReadOnlyDictionary<string, JsonTypeInfo> Kinds = new Dictionary<string, JsonTypeInfo>
    {
        ["dit"] = DitJson.Default.DitConfig, ["vae"] = Training.Vae.VaeJson.Default.VaeConfig,
        ["sprites-dit"] = SpriteDitJson.Default.SpriteDitConfig, ["sprites-vae"] = SpriteVaeJson.Default.SpriteVaeConfig,
    };

    public static TheoryData<string> Names => [.. Kinds.Keys];

    public static TheoryData<string> Configurations => [.. Directory.GetFiles(Folder, "*.json").Select(path => Path.GetFileName(path))];

    private static string Folder => CommittedConfigs();

    /// <summary>The committed schema is that of the code; <c>eng/update-config-schemas.sh</c> writes it.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void The_schema_is_that_of_the_code(string name)
    {
        var path = Path.Combine(Folder, "schema", $"{name}.json");
        var (trains, world) = (name.EndsWith("vae", StringComparison.Ordinal) ? "train vae" : "train dit, train lora and train distill", name.StartsWith("sprites", StringComparison.Ordinal) ? "in the sprites world" : "on data of your own");
        var text = new SchemaWriter(Kinds[name]).Write($"Configuration of {trains} {world}");
        if (Environment.GetEnvironmentVariable(WriteVariable) == "1")
            File.WriteAllText(path, text);
        Assert.Equal(File.ReadAllText(path), text);
    }

    [Theory]
    [MemberData(nameof(Configurations))]
    public void A_committed_configuration_names_its_schema_and_keeps_to_it(string name)
    {
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(Folder, name)), documentOptions: WithComments)!;
        var schema = Path.Combine(Folder, (string)config[SchemaKey]!);
        Assert.True(Check(schema, config), name);
        Assert.Equal(config["data"] is null, Path.GetFileName(schema).StartsWith("sprites", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": "clips" } }""", true)]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": ["a.jsonl", "b.jsonl"], "fps": null }, "precision": "bf16", "lora": { "rank": 4 } }""", true)]
    [InlineData("dit", """{ "model": "sprites" }""", false)]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": 1 } }""", false)]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": "clips" }, "learning_rat": 0.1 }""", false)]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": "clips" }, "objective": "whole" }""", false)]
    [InlineData("dit", """{ "model": "sprites", "data": { "annotations": "clips" }, "steps": "many" }""", false)]
    [InlineData("sprites-dit", """{ "start_from": "sprites", "clips": 8, "extra_colour": "pink" }""", true)]
    public void A_configuration_is_judged_as_training_judges_it(string name, string config, bool isValid) =>
        Assert.Equal(isValid, Check(Path.Combine(Folder, "schema", $"{name}.json"), JsonNode.Parse(config)!));

    private static string CommittedConfigs([CallerFilePath] string here = "") => Path.GetFullPath("../../configs", Path.GetDirectoryName(here)!);

    private static bool Check(string schema, JsonNode config) => JsonSchema.FromFile(schema).Evaluate(config).IsValid;
}

/// <summary>Writes the JSON schema of a configuration: types and names from its serializer, descriptions from its documentation, defaults from an empty one.</summary>
internal sealed class SchemaWriter(JsonTypeInfo type)
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    // Their defaults follow from other keys.
    private static readonly string[] Computed = [nameof(LoopConfig.LearningRate), nameof(LoopConfig.WarmUpSteps)];

    private readonly Dictionary<Assembly, XDocument> documents = [];

    public string Write(string title)
    {
        var schema = type.GetJsonSchemaAsNode(new JsonSchemaExporterOptions { TreatNullObliviousAsNonNullable = true, TransformSchemaNode = Described }).AsObject();
        schema.Insert(0, "$schema", "https://json-schema.org/draft/2020-12/schema");
        schema.Insert(1, "title", title);
        return schema.ToJsonString(Indented).ReplaceLineEndings("\n") + "\n";
    }

    private JsonNode Described(JsonSchemaExporterContext context, JsonNode node)
    {
        if (context.PropertyInfo is not { } property || Member(property) is not { } member)
            return node;
        var isNullable = Nullable.GetUnderlyingType(member.PropertyType) is not null || new NullabilityInfoContext().Create(member).WriteState == NullabilityState.Nullable;
        var schema = Converter(member) is { } converter ? Converted(converter, isNullable) : node as JsonObject ?? [];
        if (Summary(member) is { Length: > 0 } summary)
            schema.Insert(0, "description", summary);
        if (!property.IsRequired && !Computed.Contains(member.Name) && Default(member) is { } value)
            schema["default"] = value;
        return schema;
    }

    private static PropertyInfo? Member(JsonPropertyInfo property) => property.DeclaringType.GetProperties().FirstOrDefault(member =>
        member.GetCustomAttribute<JsonIgnoreAttribute>() is null
        && (member.GetCustomAttribute<JsonPropertyNameAttribute>()?.Name ?? JsonNamingPolicy.SnakeCaseLower.ConvertName(member.Name)) == property.Name);

    private static JsonConverter? Converter(PropertyInfo member) =>
        member.GetCustomAttribute<JsonConverterAttribute>()?.ConverterType is { } converter ? (JsonConverter)Activator.CreateInstance(converter, nonPublic: true)! : null;

    private static JsonObject Converted(JsonConverter converter, bool isNullable) => converter switch
    {
        // Case does not matter.
        INamedValues named => new JsonObject { ["enum"] = new JsonArray([.. named.Names.Concat(named.Names.Select(name => name.ToLowerInvariant())).Distinct().Select(name => (JsonNode?)name), .. isNullable ? new JsonNode?[] { null } : []]) },
        OneOrMoreConverter => new JsonObject { ["type"] = new JsonArray("string", "array"), ["items"] = new JsonObject { ["type"] = "string" } },
        TransformerConfigConverter => new JsonObject { ["type"] = "object" },
        _ => throw new NotSupportedException($"say what {converter.GetType().Name} accepts"),
    };

    // The value of a configuration that gives nothing; those of constructors are in the schema already.
    private JsonNode? Default(PropertyInfo member)
    {
        var owner = member.DeclaringType!.IsAssignableFrom(type.Type) ? type.Type : member.DeclaringType;
        if (owner.GetConstructor([]) is null || member.PropertyType == typeof(ITransformerConfig))
            return null;
        var value = member.GetValue(Activator.CreateInstance(owner));
        return value is null ? null : JsonSerializer.SerializeToNode(value, value.GetType(), Converter(member) is { } converter ? new JsonSerializerOptions { Converters = { converter } } : Indented);
    }

    private string Summary(PropertyInfo member)
    {
        var (owner, assembly) = (member.DeclaringType!, member.DeclaringType!.Assembly);
        if (!documents.TryGetValue(assembly, out var document))
            documents[assembly] = document = XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml"));
        var text = Find($"P:{owner.FullName}.{member.Name}")?.Element("summary")
            ?? Find($"T:{owner.FullName}")?.Elements("param").FirstOrDefault(element => (string?)element.Attribute("name") == member.Name);
        return text is null ? "" : string.Join(' ', string.Concat(text.Nodes().Select(Plain)).Split(default(char[]), StringSplitOptions.RemoveEmptyEntries));

        XElement? Find(string id) => document.Descendants("member").FirstOrDefault(element => (string?)element.Attribute("name") == id);
    }

    private static string Plain(XNode node) => node switch
    {
        XText text => text.Value,
        XElement element when (string?)element.Attribute("cref") is { } reference => reference.StartsWith("P:", StringComparison.Ordinal)
            ? JsonNamingPolicy.SnakeCaseLower.ConvertName(reference[(reference.LastIndexOf('.') + 1)..])
            : reference[(reference.LastIndexOf('.') + 1)..],
        XElement element => element.Value,
        _ => "",
    };
}
