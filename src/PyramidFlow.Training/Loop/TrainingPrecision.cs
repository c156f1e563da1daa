namespace PyramidFlow.Training.Loop;

/// <summary>Names of precisions: as PyTorch calls them, and as the command line does.</summary>
public sealed class TrainingPrecisionConverter() : NamedEnumConverter<TrainingPrecision>(
[
    ("bfloat16", TrainingPrecision.Bfloat16), ("bf16", TrainingPrecision.Bfloat16), ("float32", TrainingPrecision.Float32), ("fp32", TrainingPrecision.Float32),
]);

/// <summary>What a network computes in while it is trained; its weights, their gradients and averages are float32 always.</summary>
public enum TrainingPrecision
{
    /// <summary>float32.</summary>
    Float32,

    /// <summary>bfloat16: half the memory for activations, and twice as fast or more on processors and GPUs that know it.</summary>
    Bfloat16,
}
