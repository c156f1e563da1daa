using Microsoft.Extensions.Diagnostics.HealthChecks;
using PyramidFlow.Media;

namespace PyramidFlow.Hosting;

/// <summary>
/// Healthy when the model is loaded and ffmpeg runs, degraded while it is being loaded or nobody has asked for it. A load that failed is begun
/// anew, because an instance that is unhealthy gets no request that would begin it.
/// </summary>
internal sealed class PipelineHealth(PipelineSource source) : IHealthCheck
{
    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if (source.Loading is not { IsCompleted: true } loading)
            return HealthCheckResult.Degraded(source.Loading is null ? "the model is not asked for yet" : "the model is being loaded");
        if (!loading.IsCompletedSuccessfully)
        {
            source.Retry();
            return new HealthCheckResult(context.Registration.FailureStatus, loading.Exception?.InnerException?.Message ?? "the host is stopping");
        }

        try
        {
            await FfmpegTools.FromEnvironment().ReadVersionAsync(cancellationToken).ConfigureAwait(false);
            return HealthCheckResult.Healthy("the model is loaded");
        }
        catch (MediaException e)
        {
            return new HealthCheckResult(context.Registration.FailureStatus, e.Message);
        }
    }
}
