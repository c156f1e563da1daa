using PyramidFlow.Models.Lora;

namespace PyramidFlow.Training.Dit;

/// <summary>The command that trains a transformer.</summary>
internal enum DitKind
{
    /// <summary><c>train dit</c>: all weights, on data.</summary>
    Whole,

    /// <summary><c>train lora</c>.</summary>
    Lora,

    /// <summary><c>train distill</c>.</summary>
    Distill,
}

/// <summary>Configurations are for the command that they describe.</summary>
internal static class DitKinds
{
    /// <summary>Refuses a configuration of another command.</summary>
    /// <param name="kind">The command.</param>
    /// <param name="file">The configuration.</param>
    /// <param name="lora">Its LoRA, if it has one.</param>
    /// <param name="distill">Its distillation, if it has one.</param>
    /// <exception cref="TrainingException">It is for another command.</exception>
    internal static void Require(this DitKind kind, string file, LoraConfig? lora, DistillConfig? distill)
    {
        if (kind != DitKind.Lora && lora is not null)
            throw TrainingFault.ConfigOfLora(file);
        if (kind != DitKind.Distill && distill is not null)
            throw TrainingFault.ConfigOfDistillation(file);
        if (kind == DitKind.Distill && distill is null)
            throw TrainingFault.DistillMissing(file);
    }
}
