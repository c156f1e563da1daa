using Microsoft.Extensions.Options;
using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Hosting;

/// <summary>Refuses options that no pipeline could be loaded with, when the host starts: reads the configurations of the checkpoint and no weights.</summary>
internal sealed class PyramidFlowOptionsCheck : IValidateOptions<PyramidFlowOptions>
{
    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, PyramidFlowOptions options)
    {
        if (options.Threads < 1)
            return Refuse(nameof(options.Threads), "is less than 1: leave it out to take all cores");
        if (options.MaxMemoryMib < 1)
            return Refuse(nameof(options.MaxMemoryMib), "is less than 1: leave it out to take what the machine has");
        try
        {
            GenerationPlan.Of(new GenerationOptions { Prompt = "a video" }, options.Model, options.ToPipelineOptions());
            return ValidateOptionsResult.Success;
        }
        catch (Exception e) when (e is PyramidFlowException or FormatException)
        {
            return ValidateOptionsResult.Fail($"{PyramidFlowOptions.Section}: {e.Message}");
        }
    }

    private static ValidateOptionsResult Refuse(string key, string why) => ValidateOptionsResult.Fail($"{PyramidFlowOptions.Section}:{key} {why}");
}
