namespace PyramidFlow.Training.Runs;

/// <summary>What a network computes in while it is trained; its weights, their gradients and averages are float32 always.</summary>
public enum TrainingPrecision
{
    /// <summary>float32.</summary>
    Float32,

    /// <summary>bfloat16: half the memory for activations, and twice as fast or more on processors and GPUs that know it.</summary>
    Bfloat16,
}
