using PyramidFlow.Generation;

namespace PyramidFlow.Tests.Generation;

public class PromptScheduleTests
{
    [Theory]
    [InlineData("{\"0\": \"a red ball\", \"2.5\": \"a blue ball\"}")]
    [InlineData("[{\"from\": 0, \"prompt\": \"a red ball\"}, {\"from\": 2.5, \"prompt\": \"a blue ball\"}]")]
    [InlineData("[{\"prompt\": \"a red ball\", \"from\": \"0\"}, {\"from\": 2.5, \"prompt\": \"a blue ball\"}]")]
    public void A_schedule_from_second_0_begins_with_the_prompt(string text)
    {
        var schedule = PromptSchedule.Parse(text);
        Assert.Equal("a red ball", schedule.First);
        Assert.Equal([new PromptChange(2.5, "a blue ball")], schedule.Later);
        Assert.Equal("""[{"from":0,"prompt":"a red ball"},{"from":2.5,"prompt":"a blue ball"}]""", schedule.ToString());
    }

    [Fact]
    public void A_schedule_that_begins_later_has_no_first_prompt()
    {
        var schedule = PromptSchedule.Parse("""{"1": "a red ball", "2": "a blue ball"}""");
        Assert.Null(schedule.First);
        Assert.Equal([new PromptChange(1, "a red ball"), new PromptChange(2, "a blue ball")], schedule.Later);
        Assert.Equal("""[{"from":1,"prompt":"a red ball"},{"from":2,"prompt":"a blue ball"}]""", schedule.ToString());
    }

    [Theory]
    [InlineData("a red ball", PromptSchedule.Form)]
    [InlineData("7", PromptSchedule.Form)]
    [InlineData("[7]", PromptSchedule.Form)]
    [InlineData("[{\"from\": 1}]", PromptSchedule.Form)]
    [InlineData("[{\"prompt\": \"a\"}]", PromptSchedule.Form)]
    [InlineData("[{\"from\": 1, \"prompt\": \"a\", \"until\": 2}]", PromptSchedule.Form)]
    [InlineData("{}", "there is no prompt: " + PromptSchedule.Form)]
    [InlineData("[]", "there is no prompt: " + PromptSchedule.Form)]
    [InlineData("{\"1\": 7}", "write a text in quotes")]
    [InlineData("{\"-1\": \"a\"}", "a prompt cannot begin at '-1': use seconds from 0, such as 2.5")]
    [InlineData("{\"soon\": \"a\"}", "a prompt cannot begin at 'soon': use seconds from 0, such as 2.5")]
    [InlineData("{\"2,5\": \"a\"}", "a prompt cannot begin at '2,5': write 2.5 with a decimal point, and thousands without a separator")]
    [InlineData("{\"2.5\": \"a\", \"1\": \"b\"}", "the prompt from second 1 on stands after one that begins then or later: put them in order, one for each time")]
    [InlineData("{\"0\": \"a\", \"1\": \"b\", \"1.0\": \"c\"}", "the prompt from second 1 on stands after one that begins then or later: put them in order, one for each time")]
    public void What_is_no_schedule_is_refused_with_how_one_is_written(string text, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => PromptSchedule.Parse(text)).Message);

    [Fact]
    public void A_fault_in_the_JSON_itself_is_named()
    {
        var message = Assert.Throws<FormatException>(() => PromptSchedule.Parse("""{"1": "a", "1": "b"}""")).Message;
        Assert.NotEqual(PromptSchedule.Form, message);
        Assert.StartsWith("the key 1 stands twice", message);
    }
}
