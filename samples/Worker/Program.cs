// A service that makes a video of each line of prompts.txt and ends.
//
//   dotnet run -- --Prompts prompts.txt --Seconds 3 --PyramidFlow:Threads 2
using PyramidFlow.Hosting;
using PyramidFlow.Samples;

var builder = Host.CreateApplicationBuilder(args);
builder.Services.AddPyramidFlow();
builder.Services.AddHostedService<VideoMaker>();
builder.Build().Run();
