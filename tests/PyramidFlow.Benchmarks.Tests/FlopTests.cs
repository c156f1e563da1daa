using PyramidFlow.Vae;

namespace PyramidFlow.Benchmarks.Tests;

/// <summary>Against counts by hand, in multiply-adds, term by term.</summary>
public class FlopTests
{
    [Fact]
    public void Vae_of_one_frame_is_counted_as_by_hand()
    {
        var config = CausalVideoVaeConfig.Uniform([4], encoderLayers: 1, decoderLayers: 1, latentChannels: 2, groups: 2);

        const long middle = (4 * 9 * 16 * 4) + (4 * 16 * 4) + (2 * 4 * 16);
        const long level = 2 * 9 * 16 * 4;
        Assert.Equal(2 * ((9 * 12 * 4) + level + middle + (9 * 16 * 4) + (16 * 4)), VaeFlops.Encode(config, 1, 2, 2));
        Assert.Equal(2 * ((4 * 4) + (9 * 8 * 4) + middle + level + (9 * 12 * 4)), VaeFlops.Decode(config, 1, 2, 2));
    }

    [Fact]
    public void Vae_that_doubles_size_and_frames_is_counted_as_by_hand()
    {
        var config = CausalVideoVaeConfig.Uniform([4, 8], encoderLayers: 1, decoderLayers: 1, latentChannels: 2, groups: 2);

        const long start = (2 * 2 * 2) + (27 * 16 * 2) + (4 * 27 * 64 * 2) + (4 * 64 * 2) + (2 * 8 * 2);
        const long coarse = (2 * 27 * 64 * 2) + (27 * 8 * 32 * 2) + (27 * 8 * 16 * 8);
        const long fine = (27 * 32 * 12) + (27 * 16 * 12) + (32 * 12) + (27 * 12 * 12);
        Assert.Equal(2 * (start + coarse + fine), VaeFlops.Decode(config, 2, 1, 1));
        Assert.Equal(166896, 2 * (start + coarse + fine));
    }
}
