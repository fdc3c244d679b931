#!/usr/bin/env escript
%%! +pc unicode
%% -*- coding: utf-8 -*-
%%
%% The real term_to_binary/binary_to_term behind a line protocol, as the judge of the Python codec.
%%
%% One request a line on stdin, one answer a line on stdout, until stdin ends:
%%
%%   encode OPTS || EXPR   ok HEX          term_to_binary(EXPR, OPTS); both are Erlang source in UTF-8
%%   decode HEX            ok TEXT         the term as ~tw prints it: [97,98], never "ab"
%%   text HEX              ok TEXT       the term as ~0tp prints it, with all of Unicode as text
%%   consult FILE          ok HEX        the list of terms that file:consult/1 reads from a file
%%   recode HEX            ok HEX          decoded, and encoded again with [{minor_version,2}]
%%   same HEX HEX          ok true|false   do both decode to terms that are =:= ?
%%   release               ok RELEASE      the number of the OTP release
%%
%% Bytes that are no external term answer `error badarg`; whatever else goes wrong with a request
%% answers `error REASON`. In both cases the next request is served as usual.

-mode(compile).

main(_Arguments) ->
    %% Bytes in, bytes out: text is turned into UTF-8 here and not by the I/O server, whose own
    %% idea of the encoding depends on the locale.
    ok = io:setopts(standard_io, [binary, {encoding, latin1}]),
    serve().

serve() ->
    case file:read_line(standard_io) of
        {ok, Line} ->
            ok = file:write(standard_io, [answer(string:trim(Line, trailing, "\r\n")), $\n]),
            serve();
        eof ->
            ok;
        {error, Reason} ->
            exit({stdin, Reason})
    end.

answer(Line) ->
    try request(Line) of
        Answer -> [<<"ok ">>, Answer]
    catch
        throw:Reason -> [<<"error ">>, one_line(Reason)];
        Class:Reason -> [<<"error ">>, one_line({Class, Reason})]
    end.

request(<<"encode ", Rest/binary>>) ->
    case binary:split(Rest, <<" || ">>) of
        [Options, Expression] ->
            binary:encode_hex(encode(evaluate(Expression), evaluate(Options)));
        _ ->
            throw(no_separator)
    end;
request(<<"decode ", Hex/binary>>) ->
    text("~tw", [decode(Hex)]);
request(<<"text ", Hex/binary>>) ->
    text("~0tp", [decode(Hex)]);
request(<<"consult ", File/binary>>) ->
    case file:consult(File) of
        {ok, Terms} -> binary:encode_hex(term_to_binary(Terms, [{minor_version, 2}]));
        {error, Reason} -> throw(Reason)
    end;
request(<<"recode ", Hex/binary>>) ->
    binary:encode_hex(encode(decode(Hex), [{minor_version, 2}]));
request(<<"same ", Rest/binary>>) ->
    case binary:split(Rest, <<" ">>, [global]) of
        [Left, Right] -> atom_to_binary(decode(Left) =:= decode(Right));
        _ -> throw(not_two_terms)
    end;
request(<<"release">>) ->
    list_to_binary(erlang:system_info(otp_release));
request(_) ->
    throw(unknown_request).

encode(Value, Options) ->
    try
        term_to_binary(Value, Options)
    catch
        error:badarg -> throw(bad_options)
    end.

decode(Hex) ->
    Bytes =
        try
            binary:decode_hex(Hex)
        catch
            error:badarg -> throw(bad_hex)
        end,
    try
        binary_to_term(Bytes)
    catch
        error:Reason -> throw(Reason)
    end.

evaluate(Source) ->
    case unicode:characters_to_list(Source) of
        Text when is_list(Text) ->
            Expressions = parse(Text),
            try
                {value, Value, _Bindings} = erl_eval:exprs(Expressions, erl_eval:new_bindings()),
                Value
            catch
                Class:Reason -> throw({raised, Class, Reason})
            end;
        _ ->
            throw(source_is_not_utf8)
    end.

parse(Text) ->
    case erl_scan:string(Text) of
        {ok, Tokens, End} ->
            case erl_parse:parse_exprs(with_dot(Tokens, End)) of
                {ok, Expressions} -> Expressions;
                {error, {_Where, Module, What}} -> throw({syntax, text(Module:format_error(What))})
            end;
        {error, {_Where, Module, What}, _End} ->
            throw({syntax, text(Module:format_error(What))})
    end.

with_dot(Tokens, End) ->
    case lists:reverse(Tokens) of
        [{dot, _} | _] -> Tokens;
        _ -> Tokens ++ [{dot, End}]
    end.

one_line({syntax, Message}) ->
    [<<"syntax: ">>, Message];
one_line(Reason) ->
    text("~0tp", [Reason]).

text(Characters) ->
    unicode:characters_to_binary(Characters).

text(Format, Arguments) ->
    text(io_lib:format(Format, Arguments)).
