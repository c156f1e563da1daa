using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>The secret by which a receiver of webhooks knows that an announcement comes from this service.</summary>
internal static class WebhookEndpoints
{
    public static void MapWebhooks(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/v1/webhooks/secret", GetSecret).WithName("getWebhookSecret").WithTags("webhooks").WithSummary("Returns the secret that signs the webhooks of this key").Produces<WebhookSecretObject>().Refuses(401, 404);

    private static IResult GetSecret(HttpContext context, WebhookRules rules, WebhookSecrets secrets)
    {
        if (!rules.IsOn)
            throw ServiceFault.WebhooksOff(JobFaultKind.NotFound);
        context.Response.Headers.CacheControl = "no-store";
        return Results.Json(new WebhookSecretObject(secrets.Shown(Owner.From(context.User))), RestJson.Default.WebhookSecretObject);
    }
}

/// <summary>The secret that signs the webhooks of a key.</summary>
/// <param name="Secret">In the form that libraries for Standard Webhooks take: whsec_ and base64.</param>
internal sealed record WebhookSecretObject(string Secret)
{
    public string Object { get; } = "webhook.secret";
}
