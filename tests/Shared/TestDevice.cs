using PyramidFlow.Torch;

namespace PyramidFlow.Testing;

/// <summary>Where models of tests that can run on any device are: PYRAMIDFLOW_TEST_DEVICE (cuda, cuda:1), else the CPU.</summary>
public static class TestDevice
{
    public static Device Current { get; } =
        Environment.GetEnvironmentVariable("PYRAMIDFLOW_TEST_DEVICE") is { Length: > 0 } name ? Device.Parse(name) : Device.Cpu;

    /// <summary>The tensor there; itself when it already is.</summary>
    public static Tensor There(this Tensor tensor) => tensor.To(Current);
}
