namespace PyramidFlow.Torch.Tests;

public class DeviceTests
{
    [Theory]
    [InlineData("cpu", DeviceType.Cpu, -1)]
    [InlineData("cpu:0", DeviceType.Cpu, 0)]
    [InlineData("cuda", DeviceType.Cuda, -1)]
    [InlineData("cuda:0", DeviceType.Cuda, 0)]
    [InlineData("cuda:15", DeviceType.Cuda, 15)]
    public void Names_are_read_and_written_alike(string text, DeviceType type, int index)
    {
        var device = Device.Parse(text);
        Assert.Equal(new Device(type, index), device);
        Assert.Equal(text, device.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("gpu")]
    [InlineData("CUDA")]
    [InlineData("cuda:")]
    [InlineData("cuda:-1")]
    [InlineData("cuda: 1")]
    [InlineData("cuda:1:2")]
    [InlineData("cuda:99999999999")]
    [InlineData("cuda:128")]
    public void Anything_else_is_refused(string text) =>
        Assert.Equal($"unknown device '{text}': use cpu, cuda or cuda:N", Assert.Throws<FormatException>(() => Device.Parse(text)).Message);

    [Fact]
    public void A_new_tensor_is_on_the_cpu()
    {
        using var tensor = Tensor.Ones([1]);
        Assert.Equal(DeviceType.Cpu, tensor.Device.Type);
    }
}
