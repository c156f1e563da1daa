using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Transformers;

[Trait("golden", "mmdit")]
public class PyramidMmditGoldenTests
{
    public static TheoryData<string> Forwards => Goldens.Names("mmdit_forward");

    public static TheoryData<string> HalfForwards => Goldens.Names("mmdit_forward_bf16");

    public static TheoryData<string> WithPrefix => TransformerCase.WithPrefix("mmdit_forward");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_gives_the_reference_velocities(string name) => TransformerCase.CheckForward("mmdit_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_in_small_query_blocks_gives_the_reference_velocities(string name) =>
        TransformerCase.CheckForward("mmdit_forward", name, TransformerCase.SmallBlocks);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Forward_with_int8_matrices_stays_near_the_reference(string name) => TransformerCase.CheckInt8("mmdit_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(HalfForwards))]
    public void Forward_in_bfloat16_stays_near_the_reference(string name) => TransformerCase.CheckHalf("mmdit_forward_bf16", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(WithPrefix))]
    public void Prefix_and_unit_pass_equal_the_joint_pass(string name) => TransformerCase.CheckPrefix("mmdit_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(WithPrefix))]
    public void Prefix_and_unit_pass_give_the_reference_velocities(string name) => TransformerCase.CheckUnit("mmdit_forward", name);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void An_untrained_model_starts_with_the_tables_of_the_checkpoint(string name)
    {
        using var golden = Goldens.Open("mmdit_forward", name);
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        using var model = TransformerCase.Declare(golden);
        using var state = golden.State();
        model.Initialize(generator);
        foreach (var (key, parameter) in model.NamedParameters().Where(p => !p.Parameter.Trainable))
            GoldenTensors.AssertClose(state.Read(key), parameter.Value, 1e-6, 0, key);
    }
}
