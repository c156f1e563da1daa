using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>Where a configuration says to compute.</summary>
internal static class TrainingDevice
{
    /// <summary>The device; of several processes on one machine each takes the GPU of its number, unless one is named.</summary>
    /// <param name="name"><c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="group">The processes, or null for one.</param>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    internal static Device Of(string name, ProcessGroup? group)
    {
        var device = Device.Parse(name);
        if (device.Type == DeviceType.Cuda && !TorchRuntime.HasCuda)
            throw new ArgumentException($"device {name}: this libtorch sees no GPU, use cpu (doctor says more)");
        return device is { Type: DeviceType.Cuda, Index: < 0 } && group is not null ? new Device(DeviceType.Cuda, group.LocalRank) : device;
    }
}
