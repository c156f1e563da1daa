using System.Data;
using System.Text;
using Microsoft.AspNetCore.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;
using PyramidFlow.Server.Http;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Bodies of requests and what browsers keep.</summary>
internal static class ServiceTargets
{
    private const string Boundary = "xxBOUNDARYxx";

    public static IEnumerable<FuzzTarget> All()
    {
        byte[][] words = FuzzTargets.Utf8("\"prompt\":", "\"seed\":-1", "\"input_reference\":{\"image_url\":\"data:image/png;base64,", "\"extra_params\":", "\"\\ud83d\"", "\"schedule\":[", "\"size\":\"64x64\"", "null", "\"prompt\":\"a\",");
        yield return new("request-json", input => Request(input, "application/json"), [typeof(JobException)],
            FuzzTargets.Utf8("""{"prompt":"a red ball","seconds":"0.4","size":"64x64","seed":7.0,"num_inference_steps":[2,2,2],"video_steps":2,"guidance_scale":7.5,"prompt_schedule":[{"from":1,"prompt":"b"}],"extra_params":"{\"negative_prompt\":\"x\"}"}""",
                """{"prompt":"a","input_reference":{"image_url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}"""), words);
        yield return new("request-form", input => Request(input, $"multipart/form-data; boundary={Boundary}"), [typeof(JobException)],
            FuzzTargets.Utf8($"--{Boundary}\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na red ball\r\n--{Boundary}\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u0089PNG\r\n\u001a\nxxxx\r\n--{Boundary}--\r\n"),
            FuzzTargets.Utf8($"\r\n--{Boundary}\r\n", $"--{Boundary}--", "Content-Disposition: form-data; name=\"seed\"\r\n\r\n7", "filename=\"", "\r\n\r\n", "name=\"input_reference[image_url]\""));
        yield return new("queue-entry", Row, [typeof(UnreadableRowException)],
            FuzzTargets.Utf8("""{"prompt":"a","model":"sprites","width":64,"height":64,"frames":9,"seed":7,"steps":[2,2,2],"schedule":[{"from_seconds":1,"prompt":"b"}],"input":"image"}"""),
            FuzzTargets.Utf8("null", "\"schedule\":[null]", "\"steps\":null", "\"model\":\"x\"", "\\ud83d"));
        yield return new("keys", FuzzTargets.AsFile("keys.json", path => _ = new ApiKeys(Path.GetDirectoryName(path)!).Names), [typeof(ServiceException)],
            FuzzTargets.Utf8("""{"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef":"alice"}"""), FuzzTargets.Utf8("null", "\\ud83d", "\"bob\""));
        yield return new("kept-form", input => KeptDraft.FromJson(Encoding.UTF8.GetString(input)), [],
            FuzzTargets.Utf8("""{"Model":"sprites","Mode":0,"Prompt":"a","NegativePrompt":"","Units":3,"HasOwnSize":false,"Width":"","Height":"","Steps":"","VideoSteps":"","Guidance":"","VideoGuidance":"","Seed":"","KeepsSeed":false,"Schedule":null,"From":null,"SameInputAs":null}"""),
            FuzzTargets.Utf8("null", "\"Schedule\":[null]", "\"Mode\":99", "\\ud83d"));
    }

    // An entry of the queue whose request is the input.
    private static void Row(byte[] input)
    {
        using var table = new DataTable();
        object[] values =
        [
            "video_0123456789abcdef0123456789abcdef", "local", 1L, "queued", 0, 1L, DBNull.Value, DBNull.Value, Encoding.Latin1.GetString(input),
            DBNull.Value, DBNull.Value, DBNull.Value, "sprites", DBNull.Value,
        ];
        foreach (var (i, value) in values.Index())
            table.Columns.Add($"c{i}", value is DBNull ? typeof(string) : value.GetType());
        table.Rows.Add(values);
        using var reader = table.CreateDataReader();
        reader.Read();
        _ = JobRow.Read(reader);
    }

    private static readonly VideoFolder Folder = new(Path.Combine(FuzzTargets.Folder, "service"));

    private static void Request(byte[] input, string type)
    {
        Folder.Create();
        var context = new DefaultHttpContext();
        context.Request.Method = "POST";
        context.Request.ContentType = type;
        context.Request.Body = new MemoryStream(input);
        context.Request.ContentLength = input.Length;
        ReadAsync(context.Request).GetAwaiter().GetResult();
    }

    private static async Task ReadAsync(HttpRequest request)
    {
        var (fields, upload) = await new RequestReader(Folder, new ServerLimits()).ReadAsync(request, KnownFields.Create, CancellationToken.None);
        await using (upload)
            _ = CreateFields.Read(fields, upload?.Kind, []);
    }
}
