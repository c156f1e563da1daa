using System.Globalization;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

[Trait("golden", "flux")]
public class PyramidFluxGoldenTests
{
    public static TheoryData<string> Forwards => Goldens.Names("flux_forward");

    public static TheoryData<string> HalfForwards => Goldens.Names("flux_forward_bf16");

    public static TheoryData<string> WithPrefix => TransformerCase.WithPrefix("flux_forward");

    public static TheoryData<string> Units => Goldens.Names("flux_units");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_gives_the_reference_velocities(string name) => TransformerCase.CheckForward("flux_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_in_small_query_blocks_gives_the_reference_velocities(string name) =>
        TransformerCase.CheckForward("flux_forward", name, TransformerCase.SmallBlocks);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_with_int8_matrices_stays_near_the_reference(string name) => TransformerCase.CheckInt8("flux_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(HalfForwards))]
    public void Forward_in_bfloat16_stays_near_the_reference(string name) => TransformerCase.CheckHalf("flux_forward_bf16", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(WithPrefix))]
    public void Prefix_and_unit_pass_equal_the_joint_pass(string name) => TransformerCase.CheckPrefix("flux_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(WithPrefix))]
    public void Prefix_and_unit_pass_give_the_reference_velocities(string name) => TransformerCase.CheckUnit("flux_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Units))]
    public void Positions_and_embeddings_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("flux_units", name);
        using var scope = new TensorScope();
        var dim = golden.Config.GetProperty("rope_dim").GetInt32();
        using var rotary = new Rotary([golden.Tensor("in/pos").ToArray<float>()], [dim], Device.Cpu);
        var parts = rotary.Table.Unbind(-1);
        var turn = Tensor.Stack([parts[0], -parts[1], parts[1], parts[0]], -1);
        golden.AssertClose("out/rope", turn.Reshape(golden.Tensor("out/rope").Shape));
        golden.AssertClose("out/timestep_embedding_256", TimeTextEmbedding.Waves(golden.Tensor("in/timesteps")));
        foreach (var output in golden.File.Entries.Keys.Where(k => k.StartsWith("out/height_pos_", StringComparison.Ordinal)))
        {
            var sizes = output["out/height_pos_".Length..].Split("_to_").Select(s => int.Parse(s, CultureInfo.InvariantCulture)).ToArray();
            golden.AssertClose(output, Tensor.From(Rotary.Resample(sizes[0], sizes[1])));
        }
    }
}
