using System.Text.Json.Nodes;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>
/// The OpenAPI document, written so that generators make typed clients from it: a name for each operation, the key as a security scheme, a type for each answer, and lists of the words that a value may be.
/// It is of version 3.0, which all generators read.
/// </summary>
internal static class ApiDocument
{
    private const string Key = "key", Form = "multipart/form-data";

    // Words of members of types; their order is that of the document.
    private static readonly Dictionary<(Type Type, string Member), string[]> Words = new()
    {
        [(typeof(VideoObject), "status")] = ["queued", "in_progress", "completed", "failed"],
        [(typeof(VideoObject), "object")] = ["video"],
        [(typeof(VideoObject), "waits_for")] = ["worker"],
        [(typeof(DeletedObject), "object")] = ["video.deleted"],
        [(typeof(ModelObject), "object")] = ["model"],
        [(typeof(LoraObject), "object")] = ["lora"],
        [(typeof(AdminVideoObject), "status")] = ["queued", "in_progress", "completed", "failed"],
        [(typeof(AdminVideoObject), "object")] = ["admin.video"],
        [(typeof(AdminWorkerObject), "object")] = ["admin.worker"],
        [(typeof(AdminKeyObject), "object")] = ["admin.key"],
        [(typeof(AdminDiskObject), "object")] = ["admin.disk"],
        [(typeof(ErrorObject), "type")] = ["invalid_request_error", "server_error"],
        [(typeof(LiveMessage), "type")] = ["prompt", "stop", "go_on"],
        [(typeof(LiveReply), "type")] = ["accepted", "error"],
        [(typeof(CreateImage), "response_format")] = ["b64_json", "url"],
        [(typeof(CreateImage), "output_format")] = ["png"],
    };

    private static readonly Dictionary<string, string[]> ParameterWords = new()
    {
        ["order"] = ["asc", "desc"],
        ["variant"] = ["video", "thumbnail", "spritesheet", "last_frame", "input", "preview"],
        ["status"] = ["queued", "in_progress", "completed", "failed"],
    };

    private static readonly Dictionary<string, (int Least, int Most, int Usual)> ParameterNumbers = new()
    {
        ["limit"] = (1, VideoQuery.Most, 20),
        ["expires_in"] = (ShareLinks.LeastSeconds, ShareLinks.MostSeconds, ShareLinks.UsualSeconds),
    };

    private static readonly Dictionary<string, string> ParameterHelp = new()
    {
        ["expires_in"] = "Seconds that the link holds; a week unless given.",
        ["ids"] = FormattableString.Invariant($"Ids of 1 to {VideoQuery.Most} videos, with commas between them."),
        ["after"] = "Id of the last video of the page before.",
        ["order"] = "desc, the newest first, unless given.",
        ["variant"] = "video unless given.",
        ["download"] = "With any value the answer is saved under a name.",
        ["id"] = "The id.",
        ["name"] = "The name of the worker.",
        ["status"] = "Only those of this status.",
        ["key"] = "Only those of the key of this name.",
        ["link"] = "The last part of the link.",
    };

    public static IServiceCollection AddApiDocument(this IServiceCollection services) => services
        .ConfigureHttpJsonOptions(json =>
        {
            json.SerializerOptions.PropertyNamingPolicy = System.Text.Json.JsonNamingPolicy.SnakeCaseLower;
            // Numbers of answers are never texts.
            json.SerializerOptions.NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.Strict;
        })
        .AddOpenApi("v1", document =>
        {
            document.OpenApiVersion = OpenApiSpecVersion.OpenApi3_0;
            document.AddSchemaTransformer((schema, context, _) =>
            {
                CreateVideo.AddSettings(schema, context.JsonTypeInfo.Type);
                Complete(schema, context.JsonTypeInfo.Type);
                return Task.CompletedTask;
            });
            document.AddOperationTransformer((operation, context, _) =>
            {
                Complete(operation, context);
                return Task.CompletedTask;
            });
            document.AddDocumentTransformer((api, _, _) =>
            {
                Complete(api);
                return Task.CompletedTask;
            });
        });

    /// <summary>Describes an answer that is no JSON: texts, and bytes of all other types.</summary>
    public static RouteHandlerBuilder Answers(this RouteHandlerBuilder endpoint, params string[] types) => endpoint.WithMetadata(new AnswerTypes(types));

    /// <summary>Says that an endpoint needs no key.</summary>
    public static RouteHandlerBuilder NeedsNoKey(this RouteHandlerBuilder endpoint) => endpoint.WithMetadata(new KeyLess());

    private static void Complete(OpenApiSchema schema, Type type)
    {
        foreach (var (name, member) in schema.Properties ?? new Dictionary<string, IOpenApiSchema>())
        {
            if (member is OpenApiSchema own && Words.TryGetValue((type, name), out var words))
                own.Enum = [.. words.Select(word => JsonValue.Create(word))];
        }

        // Values that an answer always has.
        if (type == typeof(VideoObject))
            schema.Required = new HashSet<string>(schema.Required ?? new HashSet<string>()) { "object", "progress", "created_at", "num_frames" };
    }

    private static void Complete(OpenApiOperation operation, OpenApiOperationTransformerContext context)
    {
        var metadata = context.Description.ActionDescriptor.EndpointMetadata;
        if (!metadata.OfType<KeyLess>().Any())
            operation.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Key, context.Document)] = [] }];
        foreach (var parameter in operation.Parameters?.OfType<OpenApiParameter>() ?? [])
        {
            parameter.Description ??= ParameterHelp.GetValueOrDefault(parameter.Name!);
            parameter.Schema = ParameterNumbers.TryGetValue(parameter.Name!, out var number)
                ? new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int32", Minimum = FormattableString.Invariant($"{number.Least}"), Maximum = FormattableString.Invariant($"{number.Most}"), Default = number.Usual }
                : new OpenApiSchema { Type = JsonSchemaType.String, Enum = ParameterWords.TryGetValue(parameter.Name!, out var words) ? [.. words.Select(word => JsonValue.Create(word))] : null };
        }

        if (metadata.OfType<AnswerTypes>().LastOrDefault() is { } answer)
        {
            (operation.Responses ??= [])["200"] = new OpenApiResponse
            {
                Description = "OK",
                Content = answer.Types.ToDictionary(type => type, type => new OpenApiMediaType
                {
                    Schema = new OpenApiSchema { Type = JsonSchemaType.String, Format = type.StartsWith("text/", StringComparison.Ordinal) ? null : "binary" },
                }),
            };
        }
    }

    private static void Complete(OpenApiDocument api)
    {
        (api.Info.Title, api.Info.Version) = ("PyramidFlow", "1");
        api.Components ??= new OpenApiComponents();
        api.Components.SecuritySchemes = new Dictionary<string, IOpenApiSecurityScheme>
        {
            [Key] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "A key of this service; any text while it has none." },
        };
        var schemas = api.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>();
        foreach (var path in api.Paths.Values)
        {
            // HEAD answers what GET does, without a body.
            path.Operations?.Remove(HttpMethod.Head);
            foreach (var operation in path.Operations?.Values.ToList() ?? [])
                TakeJson(operation, api, schemas);
        }

        schemas.Remove(nameof(IFormFile));
        foreach (var members in schemas.Values.OfType<OpenApiSchema>().Select(schema => schema.Properties).OfType<IDictionary<string, IOpenApiSchema>>().ToList())
        {
            foreach (var (name, member) in members.ToList())
                members[name] = Nullable(member);
            Name(api, schemas, members);
        }
    }

    // Version 3.0 has no type of null, and generators do not know what stands in its place.
    private static IOpenApiSchema Nullable(IOpenApiSchema member) => member.OneOf is not { Count: 2 } choices || choices.OfType<OpenApiSchemaReference>().FirstOrDefault() is not { } type ? member : Nullable(type);

    private static OpenApiSchema Nullable(OpenApiSchemaReference type) =>
        new() { AllOf = [type], Description = type.Description, Extensions = new Dictionary<string, IOpenApiExtension> { ["nullable"] = new JsonNodeExtension(true) } };

    // Types of several schemas have one name, so that a client has them once.
    private static void Name(OpenApiDocument api, IDictionary<string, IOpenApiSchema> schemas, IDictionary<string, IOpenApiSchema> members)
    {
        foreach (var (member, name) in new[] { ("prompts", "LaterPrompt"), ("lora", "LoraChoice") })
        {
            if (!members.TryGetValue(member, out var list) || list is not OpenApiSchema { Items: OpenApiSchema item } own)
                continue;
            schemas[name] = item;
            own.Items = new OpenApiSchemaReference(name, api);
        }

        if (members.TryGetValue("solver", out var solver) && solver is OpenApiSchema choices)
        {
            choices.Type = JsonSchemaType.String;
            schemas["Solver"] = choices;
            members["solver"] = Nullable(new OpenApiSchemaReference("Solver", api));
        }
    }

    // Forms are taken too, but a generator that finds one makes no call with JSON. All that a form can hold JSON can: files come as data URLs, videos of this service by their ids.
    private static void TakeJson(OpenApiOperation operation, OpenApiDocument api, IDictionary<string, IOpenApiSchema> schemas)
    {
        if (operation.RequestBody?.Content is not { } content || !content.Remove(Form) || content.Values.First().Schema is not OpenApiSchemaReference { Reference.Id: { } name })
            return;
        var members = ((OpenApiSchema)schemas[name]).Properties!;
        if (members.ContainsKey(KnownFields.Reference))
            members[KnownFields.Reference] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "A picture (first frame) or a video (continued) as a data URL." };
        if (members.ContainsKey("video"))
            members["video"] = new OpenApiSchemaReference(nameof(VideoReference), api);
    }

    private sealed record AnswerTypes(string[] Types);

    private sealed record KeyLess;
}
